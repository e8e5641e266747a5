"""Several processes of the add-on on one database and one warehouse: who is there, one barrier for all."""
