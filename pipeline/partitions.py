"""The one partition: a batch, a named set of prompts in one file."""

import dagster as dg

BATCHES = dg.DynamicPartitionsDefinition(name="prompt_batch")
