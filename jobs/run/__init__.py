"""Running an analysis: stage the inputs, compute, write Parquet and a manifest."""
