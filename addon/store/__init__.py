"""The only room with the add-on's SQL: accounts, keys, resources, catalog, upload ids, jobs, audit."""
