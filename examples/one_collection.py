"""One collection, every framework: written with LlamaIndex, asked with LangChain, counted by the core.

Run it from anywhere: `python examples/one_collection.py`. The rows lie in a Milvus Lite file in a
temporary directory; nothing is left behind.
"""

from tempfile import TemporaryDirectory

from llama_index.core import Document, StorageContext, VectorStoreIndex

from ragbridge import HashingEmbeddingProvider, where
from ragbridge.langchain import RagbridgeVectorStore as LangChainStore
from ragbridge.llama_index import RagbridgeEmbedding
from ragbridge.llama_index import RagbridgeVectorStore as LlamaIndexStore
from ragbridge.stores.milvus import MilvusVectorStore

TEA = {
    "sencha": ("Sencha is steamed after picking and tastes of grass.", 2024),
    "oolong": ("Oolong is half oxidised and poured many times.", 2019),
    "pu-erh": ("Pu-erh is pressed into cakes and stored for decades.", 1998),
}
provider = HashingEmbeddingProvider()


def main() -> None:
    with (
        TemporaryDirectory() as directory,
        MilvusVectorStore("tea", uri=f"{directory}/tea.db") as store,
    ):
        documents = [
            Document(id_=name, text=text, metadata={"year": year})
            for name, (text, year) in TEA.items()
        ]
        index = VectorStoreIndex.from_documents(
            documents,
            storage_context=StorageContext.from_defaults(vector_store=LlamaIndexStore(store)),
            embed_model=RagbridgeEmbedding(provider),
        )

        langchain = LangChainStore(store, provider, document_id_key="source")
        retriever = langchain.as_retriever(
            search_kwargs={"k": 2, "filter": {"year": {"$gt": 2000}}}
        )
        for found in retriever.invoke("Which tea is poured many times?"):
            print("LangChain:", found.metadata, found.page_content)

        langchain.add_texts(
            ["Matcha is ground to powder."], [{"year": 2025, "source": "matcha"}], ids=["matcha-0"]
        )
        node = index.as_retriever(similarity_top_k=1).retrieve("tea ground to powder")[0]
        print("LlamaIndex:", node.node.ref_doc_id, round(node.score or 0.0, 2), node.text)

        print("The core:", store.count(where("year") >= 2019), "of", store.count(), "rows")
        index.delete_ref_doc("oolong")
        print("Without oolong:", store.count())


if __name__ == "__main__":
    main()
