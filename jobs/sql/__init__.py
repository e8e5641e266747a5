"""SQL texts as named queries; both engines read them. `jobs.engine.text` loads them."""
