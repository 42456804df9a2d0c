"""RecBole models with graphs: the one room that imports recbole."""
