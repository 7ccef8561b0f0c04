"""The description of the API (OpenAPI 3.1): made from the views' own declarations, and its page.

May use: `api` for the types, the views' attributes. Used by the application, and by each route,
which declares what it takes and answers.
"""
