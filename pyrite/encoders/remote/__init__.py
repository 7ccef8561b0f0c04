"""The encoder that asks a server with OpenAI's embeddings API.

May use: the encoder protocol, the settings, an HTTP client. Used through `encoders.choose` alone.
"""
