"""In how many pieces the gradients of a network are averaged, and a compiled network is cut."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from cdm_kedro.model.build import build_unet
from cdm_kedro.params.files import read_parameters
from cdm_kedro.params.model import parse_model
from cdm_kedro.training.loop import World
from project import ROOT

CPU = torch.device("cpu")


class Layers(nn.Module):
    """60 MiB of weights. PyTorch's compiler leaves alone what it finds to be modules of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1024, 1024, bias=False) for _ in range(15))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """Of one process, which DistributedDataParallel treats as it does many."""
    dist.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def buckets(shared: Any) -> list[int]:
    """Bytes of each bucket of a second step; the first step finds the order of the gradients."""
    sizes: list[int] = []

    def hook(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        sizes.append(bucket.buffer().nbytes)
        future: torch.futures.Future[Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    shared.register_comm_hook(None, hook)
    for _ in range(2):
        sizes.clear()
        shared(torch.ones(1, 1024)).sum().backward()
    return sizes


def test_gradients_travel_in_the_buckets_that_are_asked_for(group: None) -> None:
    """PyTorch's own buckets would be several."""
    net = Layers()
    assert buckets(World(0, 2, CPU).share(net)) == [60 << 20]
    assert len(buckets(nn.parallel.DistributedDataParallel(net))) > 2


def test_a_compiled_network_is_cut_where_a_bucket_ends(group: None) -> None:
    """Once, after PyTorch's own 1 MiB, with our buckets."""
    graphs: list[Any] = []
    net, pieces = Layers(), []
    for shared in (World(0, 2, CPU).share(net), nn.parallel.DistributedDataParallel(net)):
        torch._dynamo.reset()
        graphs.clear()
        torch.compile(shared, backend=lambda graph, _: graphs.append(graph) or graph.forward)(torch.ones(1, 1024))
        pieces.append(len(graphs))
    assert pieces == [2, 3]


@pytest.mark.parametrize(("name", "most"), [("base32", 8), ("sr64", 8), ("sr128", 6), ("sr256", 7)])
def test_the_papers_models_have_few_buckets(name: str, most: int) -> None:
    params = parse_model(read_parameters(ROOT / "conf", "imagenet")[0][name])
    with torch.device("meta"):
        parameters = list(build_unet(params, 1000).to("meta").parameters())
    found, _ = dist._compute_bucket_assignment_by_size(parameters, [512 << 20])
    assert 1 < len(found) <= most
