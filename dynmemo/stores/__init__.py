"""Where rows lie: a SQLite file or a DynamoDB table, large values also in S3. All promise `dynmemo.item.Store`."""
