"""Retrieval of translations: how often is the partner of a text its nearest neighbour, layer by layer?"""
