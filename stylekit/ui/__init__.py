"""The page: one module a tab, each with a `create_tab` that receives the functions it calls. Gradio appears only here and in app.py."""
