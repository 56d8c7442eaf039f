from __future__ import annotations

import torch
from scipy import stats

from cdm_kedro.sampling.philox import normal, philox4x32


def word(value: int) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.int64)


def test_known_answers_of_random123() -> None:
    """The vectors published with Random123 (kat_vectors, philox4x32 10)."""
    f = 0xFFFFFFFF
    cases = [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((f, f, f, f), (f, f), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ]
    for counter, key, expected in cases:
        got = philox4x32(tuple(word(c) for c in counter), key)  # type: ignore[arg-type]
        assert tuple(int(w) for w in got) == expected
        got = philox4x32(tuple(word(c) for c in counter), (word(key[0])[0], word(key[1])[0]))  # type: ignore[arg-type]
        assert tuple(int(w) for w in got) == expected


def test_noise_is_standard_normal_and_independent_between_draws() -> None:
    x = normal(1, 0, torch.arange(64), 0, (3, 32, 32))
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-3
    draws = [
        normal(*a, (3, 32, 32))
        for a in (
            (1, 0, torch.arange(64), 1),
            (1, 1, torch.arange(64), 0),
            (2, 0, torch.arange(64), 0),
            (1, 0, torch.arange(64, 128), 0),
        )
    ]
    for other in draws:
        correlation = torch.corrcoef(torch.stack((x.flatten(), other.flatten())))[0, 1]
        assert abs(float(correlation)) < 5 / x.numel() ** 0.5


def test_noise_of_a_sample_does_not_depend_on_its_batch() -> None:
    whole = normal(7, 2, torch.arange(10), 5, (3, 5, 5))
    for rows in ([0], [9, 3], list(range(4, 9))):
        assert torch.equal(normal(7, 2, torch.tensor(rows), 5, (3, 5, 5)), whole[rows])
