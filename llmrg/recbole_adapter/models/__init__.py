"""Base models of our own, as plain RecBole models: they know no graph and no wrapper."""
