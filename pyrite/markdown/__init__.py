"""Text in, values out, without any I/O: front matter, outline, chunks, links and ids of entries.

May use: the errors, and the pipeline's messages. Used by `vault`, which has the files, and by
all that handles entries.
"""
