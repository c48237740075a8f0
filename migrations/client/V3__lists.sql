-- A page of a collection's documents, however many others there are.
CREATE INDEX documents_by_collection ON documents (space_id, collection, doc_id) WHERE deleted = 0;
