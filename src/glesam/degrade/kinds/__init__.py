"""Single degradations, one file per kind or family of kinds."""
