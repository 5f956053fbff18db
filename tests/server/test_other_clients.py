"""The embedding classes of LangChain and LlamaIndex, where they are installed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving_client import Served

TEXTS = ["Every layer of every encoder", "天气很好"]


def close(vectors: Any, reference: Any) -> bool:
    return bool(np.abs(np.array(vectors, np.float32) - reference).max() <= 1e-5 * np.abs(reference).max())


def test_langchain_embeds(served: Served, encoder_of: Callable[[str], Any], name: str) -> None:
    langchain = pytest.importorskip("langchain_openai")
    options = {"model": f"{name}@mean(-4:)", "base_url": f"{served.http.url}v1", "api_key": "none"}
    embeddings = langchain.OpenAIEmbeddings(**options, check_embedding_ctx_length=False)
    reference = encoder_of("bert").encode(TEXTS).mix("mean(-4:)")
    assert close(embeddings.embed_documents(TEXTS), reference)
    assert close(embeddings.embed_query(TEXTS[1]), reference[1])


def test_llama_index_embeds(served: Served, encoder_of: Callable[[str], Any], name: str) -> None:
    llama_index = pytest.importorskip("llama_index.embeddings.openai_like")
    options = {"model_name": f"{name}@2", "api_base": f"{served.http.url}v1", "api_key": "none"}
    embedding = llama_index.OpenAILikeEmbedding(**options)
    reference = encoder_of("bert").encode(TEXTS).layer("2")
    assert close(embedding.get_text_embedding_batch(TEXTS), reference)
    assert close(embedding.get_query_embedding(TEXTS[0]), reference[0])
