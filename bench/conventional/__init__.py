"""A plain gateway, as one writes it with FastAPI, pydantic, SQLAlchemy and httpx. It does the same work."""
