"""Exported models as a family of their own: sessions of a runtime behind the model interface."""
