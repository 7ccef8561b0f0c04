"""The service: a REST API and a live feed over the services, with the pipeline behind them."""
