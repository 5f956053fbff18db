"""A server as people write it by hand: FastAPI and sentence-transformers, one forward per request, no batching.

For comparison, with `serve.py --url`. It needs fastapi: `MODEL=FOLDER uvicorn plain_server:app --port 8100`.
"""

import base64
import os
from typing import Any

import numpy as np
from fastapi import FastAPI
from sentence_transformers import SentenceTransformer

app = FastAPI()
model = SentenceTransformer(os.environ["MODEL"], device="cpu")


@app.post("/v1/embeddings")  # type: ignore[untyped-decorator]  # fastapi is no need of ours
def embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """Return the vectors of texts; FastAPI calls this in a pool of threads."""
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vectors = model.encode(texts, show_progress_bar=False)
    rows = [base64.b64encode(np.asarray(row, "<f4").tobytes()).decode() for row in vectors]
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    return {"object": "list", "data": data, "model": body.get("model", "")}
