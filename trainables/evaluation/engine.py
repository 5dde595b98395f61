"""Which engine answers: counting for metrics, faiss for neighbour lists, on how many GPUs."""

import torch

from .precision import product_precision
from .ranks import tile_edge
from .tiles import triton_there, ways

# faiss on a GPU sorts at most so many neighbours.
GPU_NEIGHBOURS = 2048
# Below so many pairs a search is over on the CPU before a GPU has the rows.
GPU_PAIRS = 2**22
# One GPU holds a gallery of so many bytes besides a training; a larger one is split over all.
SHARD_BYTES = 2**32


def chosen_engine(
    queries: int, gallery: int, dim: int, k: int | None = None, device: torch.device | str = "cpu"
) -> str:
    """In words, the engine that `retrieval_metrics` (k None) or `nearest_neighbours` (k a number) takes.

    queries, gallery: rows, without a gallery the same number twice; dim of the embeddings; device of the queries.
    """
    if k is not None:
        gpus = neighbour_gpus(queries, gallery, dim, k + (queries == gallery))
        return f"faiss flat, {('CPU', 'one GPU')[gpus] if gpus < 2 else f'gallery split over {gpus} GPUs'}"
    device = torch.device(device)
    edge = tile_edge(device)
    shape = min(queries, edge), min(gallery, edge), dim
    rows, columns = -(-queries // edge), -(-gallery // edge)
    tiles = rows * (rows + 1) // 2 if queries == gallery else rows * columns
    compiled, bits = ways(device, [shape] * tiles)
    by = " by the compiled kernel" if compiled else " by Triton" if triton_there(device) else ""
    products = f"products at {product_precision(device, [shape])!r}"
    if bits:
        products = f"products in {bits} bits, near ones again{' in 16' if bits == 8 else ''}, then {products}"
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"counting on {device.type}{by}, tiles of {edge}, {products}{threads}"


def neighbour_gpus(queries: int, gallery: int, dim: int, found: int) -> int:
    """How many GPUs faiss searches `found` neighbours on; 0: the CPU."""
    import faiss

    gpus = int(getattr(faiss, "get_num_gpus", lambda: 0)())
    if not gpus or found > GPU_NEIGHBOURS or queries * gallery < GPU_PAIRS:
        return 0
    return gpus if 4 * gallery * dim > SHARD_BYTES else 1
