"""Published collections: finding them, looking into them, subscribing to them."""
