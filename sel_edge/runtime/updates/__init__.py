"""The rungs as the runtime climbs them: one file per kind of update, all of them `Update`s."""
