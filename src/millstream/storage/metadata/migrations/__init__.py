"""The revisions of the schema, in order; a revision that was released is not changed again."""
