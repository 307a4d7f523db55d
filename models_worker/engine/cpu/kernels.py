"""The compiled parts of sampling on a CPU, which every row runs at every step.

numba compiles them at their first use. exp and log are here so that loops can be vectorised: polynomials of Cephes
(Moshier), exact to about one unit in the last place. All is in one file, because numba's cache notices changes only in
a function's own file.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types

f32 = np.float32

# Sums may be reordered, which vectorising needs. NaN and infinity stay, because they show overflow.
FAST = {"reassoc", "contract", "nsz"}
# Keep compiled code beside this file if possible: compiling takes seconds.
KEPT = os.access(Path(__file__).parent, os.W_OK)

# exp() of smaller numbers is subnormal, which is slow.
LEAST = f32(-87.0)
# log2(e), and ln(2) as an exact float and a rest (Cody and Waite 1980).
LOG2_E, LN2, LN2_REST = f32(1.44269504), f32(0.693359375), f32(-2.12194440e-4)
# (exp(x) - 1 - x) / x**2 for |x| < ln(2) / 2.
EXP = tuple(map(f32, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)))
# (log(1 + x) - x + x**2 / 2) / x**3 for sqrt(1/2) - 1 < x < sqrt(2) - 1.
LOG = tuple(
    map(
        f32,
        (
            *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
            *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
        ),
    )
)
SQRT_HALF = f32(0.70710678)

# As in noise.py.
GOLDEN, MIX_1, MIX_2 = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
ONE, S24, S27, S30, S31 = map(np.uint64, (1, 24, 27, 30, 31))
HALF, SCALE, MOST = f32(0.5), f32(2.0**-40), f32(1 - 2**-24)

# A number or array in compiled code, or an object of llvmlite: neither library has types for them.
Compiled = Any

# Tokens per block: their noise fits into the processor's cache.
BLOCK = 1024


def _by_bits(given: Compiled, answered: Compiled, code: Callable[[Compiled, Compiled], Compiled]) -> Compiled:
    """A compiled function of one number. code(builder, number) adds its instructions."""

    def typed(_context: Compiled, _number: Compiled) -> Compiled:
        def generated(_context: Compiled, builder: Compiled, _signature: Compiled, values: Compiled) -> Compiled:
            return code(builder, values[0])

        return answered(given), generated

    return extending.intrinsic(typed)


def _int(number: int) -> Compiled:
    return ir.Constant(ir.IntType(32), number)


def _bits(builder: Compiled, number: Compiled) -> Compiled:
    return builder.bitcast(number, ir.IntType(32))


def _float(builder: Compiled, bits: Compiled) -> Compiled:
    return builder.bitcast(bits, ir.FloatType())


def _fold(builder: Compiled, bits: Compiled) -> Compiled:
    """Negative floats are ordered by size, integers the other way round."""
    return builder.xor(bits, builder.and_(builder.ashr(bits, _int(31)), _int(0x7FFFFFFF)))


# 2**number, for whole floats.
_two_to_the = _by_bits(
    types.float32,
    types.float32,
    lambda b, number: _float(b, b.shl(b.add(b.fptosi(number, ir.IntType(32)), _int(127)), _int(23))),
)
# A normal positive number is 2**_exponent * _mantissa, both floats, with a mantissa from 0.5 to 1.
_exponent = _by_bits(
    types.float32,
    types.float32,
    lambda b, number: b.sitofp(b.sub(b.lshr(_bits(b, number), _int(23)), _int(126)), ir.FloatType()),
)
_mantissa = _by_bits(
    types.float32,
    types.float32,
    lambda b, number: _float(b, b.or_(b.and_(_bits(b, number), _int(0x007FFFFF)), _int(0x3F000000))),
)
# A bfloat16 is the upper half of a float.
_from_bfloat16 = _by_bits(
    types.uint16, types.float32, lambda b, bits: _float(b, b.shl(b.zext(bits, ir.IntType(32)), _int(16)))
)
# An integer in the order of floats (any for NaN), and its inverse.
_in_order = _by_bits(types.float32, types.int32, lambda b, number: _fold(b, _bits(b, number)))
_of_order = _by_bits(types.int32, types.float32, lambda b, order: _float(b, _fold(b, order)))


def _wide(number: Compiled) -> Compiled:
    """As float32. bfloat16 comes as uint16, because numpy has no such type."""
    raise NotImplementedError


# Not strict, or numba compares annotations too.
@extending.overload(_wide, inline="always", strict=False)
def _wide_of(number: Compiled) -> Callable[[Compiled], Compiled]:
    if number == types.uint16:
        return lambda number: _from_bfloat16(number)
    return lambda number: number


# Not FAST: reordered sums would lose precision.
@njit(fastmath={"contract"}, forceinline=True, cache=KEPT)
def _exp(x: Compiled) -> Compiled:
    """For x up to 88."""
    x = LEAST if x < LEAST else x
    whole = f32(math.floor(x * LOG2_E + f32(0.5)))
    rest = x - whole * LN2 - whole * LN2_REST
    series = EXP[0]
    for coefficient in EXP[1:]:
        series = series * rest + coefficient
    return (series * rest * rest + rest + f32(1)) * _two_to_the(whole)


@njit(fastmath={"contract"}, forceinline=True, cache=KEPT)
def _log(x: Compiled) -> Compiled:
    """For finite x above 1.2e-38."""
    whole, rest = _exponent(x), _mantissa(x)
    low = rest < SQRT_HALF
    whole = whole - f32(1) if low else whole
    rest = rest + rest - f32(1) if low else rest - f32(1)
    series = LOG[0]
    for coefficient in LOG[1:]:
        series = series * rest + coefficient
    square = rest * rest
    return series * rest * square + whole * LN2_REST - f32(0.5) * square + rest + whole * LN2


@njit(forceinline=True, cache=KEPT)
def _largest(line: Compiled) -> Compiled:
    """The largest number, any of them if one is NaN. By integers, because NaN would prevent vectorising."""
    top = _in_order(_wide(line[0]))
    for j in range(len(line)):
        each = _in_order(_wide(line[j]))
        top = each if each > top else top
    return _of_order(top)


@njit(fastmath=FAST, error_model="numpy", cache=KEPT)
def _score_prompt(query: Compiled, keys: Compiled, begin: int, scores: Compiled, count: int) -> None:
    """scores[:, :count] of the keys [dim, columns] from column `begin` on. dim is a multiple of four."""
    queries, dim = query.shape
    scores[:, :count] = 0
    # Four lines of keys at a time, to load and store the scores a quarter as often.
    for at in range(0, dim, 4):
        key_0, key_1 = keys[at, begin : begin + count], keys[at + 1, begin : begin + count]
        key_2, key_3 = keys[at + 2, begin : begin + count], keys[at + 3, begin : begin + count]
        for one in range(queries):
            q_0, q_1, q_2, q_3 = query[one, at], query[one, at + 1], query[one, at + 2], query[one, at + 3]
            into = scores[one]
            for j in range(count):
                into[j] += q_0 * _wide(key_0[j]) + q_1 * _wide(key_1[j]) + q_2 * _wide(key_2[j]) + q_3 * _wide(key_3[j])


@njit(fastmath=FAST, error_model="numpy", cache=KEPT)
def _score_own(query: Compiled, keys: Compiled, begin: int, scores: Compiled, after: int, count: int) -> None:
    """scores[:, after : after + count] of the keys [columns, dim] from column `begin` on."""
    queries, dim = query.shape
    for j in range(count):
        key = keys[begin + j]
        for one in range(queries):
            product = f32(0)
            for d in range(dim):
                product += query[one, d] * _wide(key[d])
            scores[one, after + j] = product


@njit(fastmath=FAST, error_model="numpy", cache=KEPT)
def _softmax(scores: Compiled, count: int) -> None:
    for one in range(len(scores)):
        line, total = scores[one][:count], f32(0)
        top = _largest(line)
        for j in range(len(line)):
            weight = _exp(line[j] - top)
            line[j] = weight
            total += weight
        share = f32(1) / total
        for j in range(len(line)):
            line[j] *= share


@njit(fastmath=FAST, error_model="numpy", cache=KEPT)
def _add_values(weights: Compiled, after: int, values: Compiled, begin: int, count: int, found: Compiled) -> None:
    """Add the values [columns, dim] from column `begin` on, by weights[:, after : after + count]."""
    queries, dim = found.shape
    fours = count - count % 4
    for j in range(0, fours, 4):
        value_0, value_1 = values[begin + j], values[begin + j + 1]
        value_2, value_3 = values[begin + j + 2], values[begin + j + 3]
        for one in range(queries):
            w_0, w_1 = weights[one, after + j], weights[one, after + j + 1]
            w_2, w_3 = weights[one, after + j + 2], weights[one, after + j + 3]
            into = found[one]
            for d in range(dim):
                into[d] += (
                    w_0 * _wide(value_0[d])
                    + w_1 * _wide(value_1[d])
                    + w_2 * _wide(value_2[d])
                    + w_3 * _wide(value_3[d])
                )
    for j in range(fours, count):
        for one in range(queries):
            for d in range(dim):
                found[one, d] += weights[one, after + j] * _wide(values[begin + j, d])


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=KEPT)
def attend(places: Compiled, order: Compiled, slots: Compiled, settings: Compiled, found: Compiled) -> None:
    query, prompt_keys, prompt_values, begins, own_keys, own_values, starts = places
    end, scale, window = settings
    _rows, heads, queries, dim = query.shape
    columns = prompt_keys.shape[3]
    scores = np.empty((queries, columns + own_keys.shape[2]), np.float32)
    scaled = np.empty((queries, dim), np.float32)
    at = 0
    while at < len(order):
        slot, until = slots[at], at + 1
        while until < len(order) and slots[until] == slot:
            until += 1
        for head in range(heads):
            # All rows of the prompt, while its keys are in the cache.
            for row in order[at:until]:
                written = end - starts[row]
                unseen = max(0, columns - begins[slot] + written - window)
                begin = min(columns, begins[slot] + unseen)
                own_begin = starts[row] + max(0, unseen - (columns - begins[slot]))
                of_prompt, own = columns - begin, end - own_begin
                for one in range(queries):
                    for d in range(dim):
                        scaled[one, d] = _wide(query[row, head, one, d]) * scale
                _score_prompt(scaled, prompt_keys[slot, head], begin, scores, of_prompt)
                _score_own(scaled, own_keys[row, head], own_begin, scores, of_prompt, own)
                _softmax(scores, of_prompt + own)
                into = found[row, head]
                into[:] = 0
                _add_values(scores, 0, prompt_values[slot, head], begin, of_prompt, into)
                _add_values(scores, of_prompt, own_values[row, head], own_begin, own, into)
        at = until


@njit(fastmath={"contract"}, error_model="numpy", forceinline=True, cache=KEPT)
def _noise(stream: Compiled, token: Compiled) -> Compiled:
    """gumbel() of noise.py, for one token."""
    x = stream + (token + ONE) * GOLDEN
    x = (x ^ (x >> S30)) * MIX_1
    x = (x ^ (x >> S27)) * MIX_2
    x = x ^ (x >> S31)
    uniform = (f32(np.int64(x >> S24)) + HALF) * SCALE
    uniform = min(uniform, MOST)
    # log(1 - uniform), corrected for the digits that the subtraction loses.
    rest = f32(1) - uniform
    exponential = -(_log(rest) + ((f32(1) - rest) - uniform) / rest)
    return -_log(exponential)


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=KEPT)
def pick(logits: Compiled, temperature: Compiled, stream: Compiled, tokens: Compiled) -> None:
    vocabulary = logits.shape[1]
    sums = np.empty(BLOCK, np.float32)
    for row in range(len(logits)):
        of_row = stream[row]
        greedy = temperature[row] == 0
        divisor = f32(1) if greedy else temperature[row]
        best = f32(-np.inf)
        tokens[row] = 0
        for begin in range(0, vocabulary, BLOCK):
            line = logits[row, begin : begin + BLOCK]
            if greedy:
                for j in range(len(line)):
                    sums[j] = _wide(line[j])
            else:
                for j in range(len(line)):
                    sums[j] = _wide(line[j]) / divisor + _noise(of_row, np.uint64(begin + j))
            top = _largest(sums[: len(line)])
            if top > best:
                best = top
                for j in range(len(line)):
                    if sums[j] == top:
                        tokens[row] = begin + j
                        break


@njit(fastmath=FAST, error_model="numpy", nogil=True, cache=KEPT)
def log_sum_exp(logits: Compiled, found: Compiled) -> None:
    vocabulary = logits.shape[1]
    for row in range(len(logits)):
        line = logits[row]
        top = _largest(line)
        total = np.float64(0)
        for begin in range(0, vocabulary, BLOCK):
            block, part = line[begin : begin + BLOCK], f32(0)
            for j in range(len(block)):
                part += _exp(_wide(block[j]) - top)
            total += part
        found[row] = top + np.log(total)
