"""The HTTP server and its page; `glesam.serve.app.create_app` makes it, `glesam serve` runs it (extra `serve`)."""
