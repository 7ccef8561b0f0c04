"""Encoders that compute on this machine: a model's files, its preparation, OpenVINO and torch.

May use: the encoder protocol and the native libraries. Used through `encoders.choose` alone.
"""
