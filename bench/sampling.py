"""Measure the speed and memory of sampling, and compare it with other engines.

    python bench/sampling.py [--quick] [--vllm PYTHON] [--only PART ...]

A random Llama of 15.7 million parameters, 64 prompts of 64 to 512 tokens, K=4, at most 128 new tokens, one thread.
Rates are tokens per second of CPU time, because a busy machine disturbs them less than tokens per second. The rate of
this engine is the mean of runs before and after the compared one (one run with --quick). DATABASE_URL names a
PostgreSQL server for the run through Celery, which creates a database there; by default the program starts a server.
--vllm names a Python with vLLM. Prints one JSON line at the end. --quick takes under two minutes on an idle machine.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.sampler import SHAPES, VOCABULARY  # noqa: E402

MB = 1 << 20
# Default rows of this engine, also for vLLM. `generate` is slower with so large a batch than with 64.
ROWS = 256
# An H200: bytes of memory and bf16 operations per second, and the share of each that good programs reach.
BANDWIDTH, OPERATIONS = 4.8e12, 989e12
REACHED_BANDWIDTH, REACHED_OPERATIONS = 0.7, 0.55


class Bench:
    """Starts the measured processes, and collects their results."""

    def __init__(self, folder: Path, *, quick: bool, vllm: str | None) -> None:
        self.folder, self.quick, self.vllm = folder, quick, vllm
        self.figures: dict[str, Any] = {"quick": quick}

    def policy(self, shape: str) -> str:
        folder = self.folder / shape
        if not folder.exists():
            self.process([{"method": "policy", "folder": str(folder), "shape": shape}])
        return str(folder)

    def measure(self, method: str, *, shape: str = "small", python: str = sys.executable, **job: Any) -> dict[str, Any]:
        return self.process([{"method": method, "folder": self.policy(shape), **self.short, **job}], python=python)[0]

    def ours(self, *jobs: dict[str, Any], shape: str = "small") -> list[dict[str, Any]]:
        """Several measurements of this engine, in one process."""
        return self.process([{"method": "ours", "folder": self.policy(shape), **self.short, **job} for job in jobs])

    @property
    def short(self) -> dict[str, int]:
        """Shorter texts with --quick."""
        return {"max_new_tokens": 40} if self.quick else {}

    def process(self, jobs: list[dict[str, Any]], *, python: str = sys.executable) -> list[dict[str, Any]]:
        command = [python, "-m", "bench.sampler", json.dumps(jobs)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=one_thread(), check=False)
        if ended.returncode:
            raise SystemExit(f"{jobs} failed:\n{ended.stderr[-2000:]}")
        answers: list[dict[str, Any]] = json.loads(ended.stdout.strip().splitlines()[-1])
        return answers


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help=f"fewer prompts, shorter texts, and of the parts {' and '.join(QUICK)}"
    )
    parser.add_argument("--vllm", help="a Python that has vLLM")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=" ".join(PARTS))
    asked = parser.parse_args()
    own = sys.executable if importlib.util.find_spec("vllm") else None
    say_conditions()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), quick=asked.quick, vllm=asked.vllm or own)
        for name in asked.only or (QUICK if asked.quick else PARTS):
            print(f"\n{(PARTS[name].__doc__ or '').splitlines()[0]}", flush=True)
            PARTS[name](bench)
    print(f"\nload average {load()}")
    print(json.dumps(bench.figures))


def say_conditions() -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "celery"))
    print(f"{platform.platform()}, {processor()}, {os.cpu_count()} cores, load average {load()}")
    print(f"Python {platform.python_version()}, {versions}; one thread a process")


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return name + (" with AVX512-BF16" if any("avx512_bf16" in line for line in lines) else "")


def load() -> str:
    return " ".join(f"{each:.1f}" for each in os.getloadavg())


def rates(bench: Bench) -> None:
    """Tokens per CPU second (and per second), each way in a process of its own"""
    prompts = 8 if bench.quick else 64
    # Their cost per token does not depend on the number of prompts. That of batches does: with more prompts, lengths in
    # a batch differ less.
    fewer, few = (4, 4) if bench.quick else (32, 16)
    first = bench.measure("ours", prompts=prompts, rows=ROWS)
    naive = bench.measure("naive", prompts=fewer)
    batched = bench.measure("batched", prompts=prompts)
    continuous = bench.measure("continuous", prompts=few)
    second = first if bench.quick else bench.measure("ours", prompts=prompts, rows=ROWS)
    ours = (first["tokens"] + second["tokens"]) / (first["cpu_s"] + second["cpu_s"])
    # Few prompts have no more samples.
    fewer_rows = first if bench.quick else bench.measure("ours", prompts=prompts)
    bf16 = bench.measure("ours", prompts=prompts, rows=ROWS, dtype="bfloat16")
    bf16_naive = None if bench.quick else bench.measure("naive", prompts=few, dtype="bfloat16")
    show("generate, a prompt at a time", naive)
    show("generate, 64 rows, sorted by length", batched)
    show("transformers' continuous batching", continuous)
    show("ours, float32", first)
    if not bench.quick:
        show("ours, float32, once more", second)
        show("ours, float32, 64 rows", fewer_rows)
    if bf16_naive:
        show("generate, a prompt at a time, bfloat16", bf16_naive)
    show("ours, bfloat16", bf16)
    bench.figures |= {
        "naive_tok_per_cpu_s": naive["tok_per_cpu_s"],
        "batched_tok_per_cpu_s": batched["tok_per_cpu_s"],
        "continuous_tok_per_cpu_s": continuous["tok_per_cpu_s"],
        "ours_fp32_tok_per_cpu_s": round(ours, 1),
        "ours_bf16_tok_per_cpu_s": bf16["tok_per_cpu_s"],
        "ours_fp32_64_rows_tok_per_cpu_s": fewer_rows["tok_per_cpu_s"],
        "ours_fp32_tok_per_s": first["tok_per_s"],
        "ours_bf16_tok_per_s": bf16["tok_per_s"],
        "ours_vs_naive": ratio(ours, naive["tok_per_cpu_s"]),
        "ours_vs_batched": ratio(ours, batched["tok_per_cpu_s"]),
        "ours_vs_continuous": ratio(ours, continuous["tok_per_cpu_s"]),
        "ours_vs_naive_bf16": bf16_naive and ratio(bf16["tok_per_cpu_s"], bf16_naive["tok_per_cpu_s"]),
        "ours_vs_vllm_fp32": None,
        "ours_vs_vllm_bf16": None,
    }
    if not bench.vllm:
        print("  vLLM: not installed, not run")
        return
    for dtype, key, mine in (("float32", "fp32", ours), ("bfloat16", "bf16", bf16["tok_per_cpu_s"])):
        theirs = bench.measure("vllm", prompts=prompts, rows=ROWS, dtype=dtype, python=bench.vllm)
        show(f"vLLM, {dtype}", theirs)
        bench.figures[f"ours_vs_vllm_{key}"] = ratio(mine, theirs["tok_per_cpu_s"])


def show(name: str, got: dict[str, Any]) -> None:
    print(
        f"  {name:40} {got['tok_per_cpu_s']:7.0f} ({got['tok_per_s']:.0f}), {got['tokens']} tokens of"
        f" {got['samples']} samples, peak {got['peak_mb']:.0f} MB"
    )


def ratio(one: float, other: float) -> float:
    return round(one / other, 2)


def where_it_goes(bench: Bench) -> None:
    """Where the CPU time of ours goes, float32 and bfloat16"""
    found = {}
    for dtype in ("float32", "bfloat16"):
        found[dtype] = bench.measure("shares", prompts=4 if bench.quick else 32, dtype=dtype)["shares"]
        print(f"  {dtype}: " + ", ".join(f"{name} {share:.0%}" for name, share in found[dtype].items()))
    bench.figures["shares"] = found


def same_texts(bench: Bench) -> None:
    """The share of samples that keep all their tokens when 24 and 8 rows take the place of 64"""
    jobs = [{"prompts": 4 if bench.quick else 16, "rows": rows} for rows in (64, 24, 8)]
    for dtype, key in (("float32", "fp32"), ("bfloat16", "bf16")):
        most, *others = (got["texts"] for got in bench.ours(*({**job, "dtype": dtype} for job in jobs)))
        equal = [round(sum(most[each] == texts[each] for each in most) / len(most), 3) for texts in others]
        print(f"  {dtype}: {equal[0]:.1%} with 24 rows, {equal[1]:.1%} with 8 rows")
        bench.figures[f"equal_texts_{key}"] = equal


def memory(bench: Bench) -> None:
    """Peak memory by the budget for keys and values, 64 rows wanted"""
    grown = []
    budgets = (32, 64)
    for budget in budgets:
        got = bench.measure("ours", prompts=12 if bench.quick else 24, kv_budget_bytes=budget * MB)
        grown.append(got["grown_mb"])
        print(
            f"  {budget} MB: peak {got['peak_mb']:.0f} MB, of which {got['grown_mb']:.0f} MB came with the sampling;"
            f" {got['tok_per_cpu_s']:.0f} tokens per CPU second"
        )
    print(f"  the budget grew by 32 MB, the peak by {grown[1] - grown[0]:.0f} MB")
    bench.figures |= {"kv_budget_mb": budgets, "grown_mb": grown}


def cost_of_k(bench: Bench) -> None:
    """CPU milliseconds per sample as K grows: a prompt is read once for all K"""
    ks = (1, 4, 9)
    several = bench.ours(*({"prompts": 4 if bench.quick else 24, "k": k} for k in ks))
    costs = [round(1000 * got["cpu_s"] / got["samples"], 1) for got in several]
    for k, cost, got in zip(ks, costs, several, strict=True):
        print(f"  K={k}: {cost} ms, {got['tok_per_cpu_s']:.0f} tokens per CPU second")
    bench.figures["ms_per_sample_k_1_4_9"] = costs


def ten_times(bench: Bench) -> None:
    """CPU milliseconds per sample and peak memory at ten and a hundred times the prompts

    With a smaller model and short texts, or the largest would take hours.
    """
    sizes = (16, 160) if bench.quick else (64, 640, 6400)
    short = {"shortest": 8, "longest": 32, "max_new_tokens": 16}
    # Smallest first, so that the peak of the process is that of the last measurement.
    several = bench.ours(*({"prompts": prompts, **short} for prompts in sizes), shape="tiny")
    costs = [round(1000 * got["cpu_s"] / got["samples"], 2) for got in several]
    peaks = [got["peak_mb"] for got in several]
    for prompts, cost, peak in zip(sizes, costs, peaks, strict=True):
        print(f"  {prompts} prompts: {cost} ms, peak {peak:.0f} MB")
    bench.figures |= {"prompts": sizes, "ms_per_sample": costs, "peak_mb": peaks}


def end_to_end(bench: Bench) -> None:
    """From prompts in PostgreSQL to ready completions there, through a Celery worker, against the engine alone"""
    prompts = 8 if bench.quick else 64
    before = bench.measure("ours", prompts=prompts, rows=ROWS)
    with database(bench.folder) as url:
        environment = one_thread() | {
            "DATABASE_URL": url,
            "VAR_DIR": str(bench.folder / "var"),
            "CELERY_BROKER_URL": "filesystem://",
            "DEBUG": "1",
        }
        job = {"folder": bench.policy("small"), "prompts": prompts, "method": "ours", **bench.short}
        command = [sys.executable, "-m", "bench.sampling_run", json.dumps(job)]
        ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    whole = json.loads(ended.stdout.strip().splitlines()[-1])
    after = before if bench.quick else bench.measure("ours", prompts=prompts, rows=ROWS)
    bare = {key: (before[key] + after[key]) / 2 for key in ("tok_per_cpu_s", "tok_per_s")}
    print(f"  the engine alone: {bare['tok_per_cpu_s']:.0f} tokens per CPU second ({bare['tok_per_s']:.0f} a second)")
    print(
        f"  the worker: {whole['tok_per_cpu_s']:.0f} ({whole['tok_per_s']:.0f}), {whole['completions']} completions,"
        f" all of its own work for the database included; PostgreSQL runs beside it"
    )
    bench.figures |= {
        "end_to_end_vs_engine": ratio(whole["tok_per_cpu_s"], bare["tok_per_cpu_s"]),
        "end_to_end_vs_engine_wall": ratio(whole["tok_per_s"], bare["tok_per_s"]),
    }


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """The URL of a new database, on the server of DATABASE_URL or on a new server."""
    from annotate.launch import embedded_postgres

    given, own = os.environ.get("DATABASE_URL"), folder / "server"
    server = given or embedded_postgres.ensure_running(own)
    name = f"bench_sampling_{os.getpid()}"
    try:
        run_sql(server, f"CREATE DATABASE {name}")
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            run_sql(server, f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        if not given:
            embedded_postgres.stop(own)


def run_sql(server: str, statement: str) -> None:
    connection = psycopg2.connect(server)
    # CREATE DATABASE cannot run in a transaction.
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def on_a_gpu(bench: Bench) -> None:
    """Tokens a second on a GPU, a Llama of 1.0 thousand million parameters in bfloat16, against the roofline"""
    import torch

    if not torch.cuda.is_available():
        print("  not run: this machine has none")
        bench.figures["gpu"] = None
        return
    print(f"  {torch.cuda.get_device_name()}; the roofline is an H200's")
    found = {}
    for rows in (16, 64, 256):
        job = {"shape": "1b", "device": "cuda", "dtype": "bfloat16", "rows": rows, "prompts": 2 * rows // 4}
        job |= {"kv_budget_bytes": 32 << 30}
        mine = bench.measure("repeated", extra={"method": "ours"}, **job)["tokens_per_s"]
        theirs = bench.measure("repeated", extra={"method": "batched"}, **job)["tokens_per_s"]
        possible = roofline(rows, length=288 + 28)
        found[rows] = {
            "tok_per_s": round(mine),
            "of_roofline": ratio(mine, possible),
            "vs_batched": ratio(mine, theirs),
        }
        print(
            f"  {rows} rows: {mine:.0f} tokens a second, {mine / possible:.0%} of the roofline's {possible:.0f},"
            f" {mine / theirs:.1f} times batched generate"
        )
    bench.figures["gpu"] = found


def roofline(rows: int, *, length: int) -> float:
    """The tokens per second that memory and arithmetic of an H200 allow, without reading prompts.

    A step of B rows of L tokens each takes the longer of reading the weights and all keys and values, (W + B L kv) /
    bandwidth, and of computing, 2 P B / operations; W = 2 P bytes for P parameters.
    """
    shape = SHAPES["1b"]
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
    narrow = hidden * shape["num_key_value_heads"] // shape["num_attention_heads"]
    per_layer = 2 * hidden * hidden + 2 * hidden * narrow + 3 * hidden * shape["intermediate_size"]
    parameters = layers * per_layer + VOCABULARY * hidden
    reading = (2 * parameters + rows * length * 2 * layers * narrow * 2) / (BANDWIDTH * REACHED_BANDWIDTH)
    computing = 2 * parameters * rows / (OPERATIONS * REACHED_OPERATIONS)
    return rows / max(reading, computing)


PARTS: dict[str, Callable[[Bench], None]] = {
    "rates": rates,
    "shares": where_it_goes,
    "texts": same_texts,
    "memory": memory,
    "k": cost_of_k,
    "size": ten_times,
    "worker": end_to_end,
    "gpu": on_a_gpu,
}
# What there is time for in two minutes, unless other parts are asked for.
QUICK = ("rates", "worker")

if __name__ == "__main__":
    main()
