"""Where rows lie: a local SQLite file or a DynamoDB table. See `dynmemo.item.Store` for what both promise."""
