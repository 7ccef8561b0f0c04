"""The encoder that asks a server with OpenAI's embeddings API.

May use: the encoder protocol, the settings of the connection, an HTTP client. Used through
`encoders.choose` alone.
"""
