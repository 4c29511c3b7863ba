"""Reputation and market price, written from docs/market.md alone: naive, from all records at each question.

Reads lines of JSON. {"history": {"auditors": […]}} begins anew; {"found_wrong": …} is an OUTCOME of reason 4; {"post": …} and {"fault": …} are records in the order of the log, with the
wallets that signer and miner are bound to; {"reputation": …} and {"price": …} are questions, each answered by a line; so is
each fault, by what it counts."""

import json
import math
import sys

import numpy as np

DAY_MS = 86_400_000


def root(number, degree):
    """The greatest whole number whose power of this degree is at most the number."""
    low, high = 0, 1 << (number.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= number else (low, middle - 1)
    return low


T = np.array([root(1 << (960 - r), 30) for r in range(30)], dtype=np.int64)


def exact(numbers):
    """An array of whole numbers without a bound."""
    array = np.empty(len(numbers), dtype=object)
    array[:] = numbers
    return array


def column(records, name):
    return exact([record[name] for record in records])


def day_of(record):
    return record["time_ms"] // DAY_MS


# Reputation.

def shared_wallet(record):
    paying = {record["payer"], record["signer_wallet"]} - {None}
    return bool(paying & {record.get("payee"), record["miner_wallet"]})


def recent(records, payer, day, name):
    return sum(record[name] for record in records if record["payer"] == payer and 0 <= day - day_of(record) <= 29)


def fault_weight(record, posts, faults):
    if shared_wallet(record):
        return 0
    payer, day = record["payer"], day_of(record)
    left = recent(posts, payer, day, "fee") - recent(faults, payer, day, "counted")
    return min(record["weight"], 50_000, max(0, left))


def faded(sums, ages):
    left = sums * T[ages % 30] >> np.minimum(32 + ages // 30, 62)
    return np.where(ages > 300, 0, left)


def reputation(miner, today, posts, faults, found_wrong):
    counted = [(post["payer"], day_of(post), min(1000, post["fee"] * 1000 // 50_000), 0)
               for post in posts if post["miner"] == miner and not shared_wallet(post)]
    counted += [(fault["payer"], day_of(fault), 0, fault["counted"] * 1000 // 50_000)
                for fault in faults if fault["miner"] == miner and not shared_wallet(fault)]
    counted += [(finding["auditor"], day_of(finding), 0, 1000) for finding in found_wrong if finding["miner"] == miner]
    pairs = sorted({(client, day) for client, day, _, _ in counted})
    place = {pair: at for at, pair in enumerate(pairs)}
    sums = np.zeros((len(pairs), 2), dtype=np.int64)
    for client, day, success, fault in counted:
        sums[place[client, day]] += (success, fault)
    sums = np.minimum(sums, 1000)
    days = np.array([day for _, day in pairs], dtype=np.int64)
    left = faded(sums, (today - days)[:, None])
    names = np.array([client for client, _ in pairs], dtype=object)
    clients, score = [], np.zeros(2, dtype=np.int64)
    for client in sorted(set(names)):
        own = (names == client) & left.any(axis=1)
        if own.any():
            kept = np.minimum(left[own].sum(axis=0), 3000)
            score += kept
            terms = np.column_stack([days[own], sums[own], left[own]])
            clients.append([client, terms.tolist(), kept.tolist()])
    success, fault = score.tolist()
    alpha, beta = 1000 + success, 1000 + fault
    n = alpha + beta
    bound = max(0, alpha - 1 - math.isqrt(2706 * alpha * beta // (n + 1000)))
    return {"success": success, "fault": fault, "ppm": 10**6 * bound // n, "clients": clients}


# Market price.

def trades_of(posts, gpu):
    """The chains of POST records of a model, as arrays in the order of the log."""
    chains = []
    for before, post in zip([None, *posts], posts):
        if before is not None and before["job_ref"] == post["job_ref"]:
            chains[-1]["weight"] += post["fee"]
        else:
            chains.append({**post, "weight": post["fee"], "day": day_of(post)})
    return [chain for chain in chains if chain["gpu"] == gpu and chain["weight"] > 0 and chain["rate"] <= 10**12]


def percentile(numbers, weights, percent):
    order = np.argsort(numbers, kind="stable")
    up_to = np.cumsum(weights[order])
    reached = np.array(up_to * 100 >= percent * up_to[-1], dtype=bool)
    return int(numbers[order][np.argmax(reached)])


def scale(rates, weights, owners):
    """The weights with great owners scaled, and how many owners that are."""
    limit, scaled, great = int(weights.sum()) // 5, weights.copy(), 0
    for owner in set(owners):
        own = np.flatnonzero(owners == owner)
        own = own[np.argsort(rates[own], kind="stable")]
        up_to = np.cumsum(weights[own])
        if up_to[-1] > limit:
            great += 1
            scaled[own] = np.diff(np.concatenate([exact([0]), up_to * limit // up_to[-1]]))
    return scaled, great


def statistics(rates, weights):
    moment = (weights * exact(rates.tolist())).sum()
    return {
        "min": int(rates.min()), "max": int(rates.max()), "mean": int(moment // weights.sum()),
        "percentiles": [percentile(rates, weights, percent) for percent in (10, 25, 50, 75, 90)],
    }


def histogram(rates, weights, low, high):
    width = -(-(high - low + 1) // 20)
    buckets = []
    for begin in range(low, high + 1, width):
        end = min(high, begin + width - 1)
        inside = (rates >= begin) & (rates <= end)
        buckets.append([begin, end, int(inside.sum()), int(weights[inside].sum())])
    return buckets


def kept_of(rates, weights):
    if not weights.sum():
        return None
    m = percentile(rates, weights, 50)
    far = np.abs(rates - m)
    mad = percentile(far, weights, 50)
    near = far * 1000 <= max(4448 * mad, 100 * m)
    rates, weights = rates[near], weights[near]
    found = statistics(rates, weights)
    return {
        "trades": len(rates), "weight": int(weights.sum()), **found, "deviation": mad,
        "histogram": histogram(rates, weights, found["min"], found["max"]),
    }


def settled(trades):
    if not trades:
        return {"trades": 0, "weight": 0, "owners": 0, "weighty_owners": 0, "scaled_owners": 0, "providers": 0,
                "billed_ms": 0, "kept": None}
    rates = np.array([trade["rate"] for trade in trades], dtype=np.int64)
    weights, owners = column(trades, "weight"), column(trades, "payee")
    scaled, great = scale(rates, weights, owners)
    weighty = [owner for owner in set(owners) if weights[owners == owner].sum() >= 500_000]
    return {
        "trades": len(trades), "weight": int(weights.sum()), "owners": len(set(owners)), "weighty_owners": len(weighty),
        "scaled_owners": great, "providers": len({trade["miner"] for trade in trades}),
        "billed_ms": sum(trade["billed_ms"] for trade in trades), "kept": kept_of(rates, scaled),
    }


def price(question, posts):
    trades, today = trades_of(posts, question["gpu"]), question["today"]
    found = settled([trade for trade in trades if today - question["days"] < trade["day"] <= today])
    live, utilisation = question["live_ms"], None
    if live:
        utilisation = min(10_000, 10_000 * found["billed_ms"] // live)
    rates = exact(question["offers"])
    offers = {"count": len(rates), **statistics(rates, exact([1] * len(rates)))} if len(rates) else None
    adjustment = 0
    if found["weighty_owners"] >= 5 and found["kept"]:
        adjustment = max(-2_500, min(2_500, ((5_000 if utilisation is None else utilisation) - 5_000) // 2))
        suggested, basis = found["kept"]["percentiles"][2] * (10_000 + adjustment) // 10_000, "trades"
    else:
        suggested, basis = (offers["percentiles"][2], "offers") if offers else (None, "nothing")
    of_days = (settled([trade for trade in trades if trade["day"] == day])["kept"] for day in range(today - 29, today + 1))
    return {
        **found, "offers": offers, "utilisation_bps": utilisation, "adjustment_bps": adjustment, "suggested": suggested,
        "basis": basis, "daily": [kept and kept["percentiles"][2] for kept in of_days],
    }


def main(file):
    posts, faults, found_wrong, auditors = [], [], [], set()
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            [(what, record)] = json.loads(line).items()
            if what == "history":
                posts, faults, found_wrong, auditors = [], [], [], set(record["auditors"])
            elif what == "post":
                posts.append({**record, "fee": 0} if record["payer"] in auditors else record)
            elif what == "found_wrong":
                found_wrong.append(record)
            elif what == "fault":
                record["counted"] = fault_weight(record, posts, faults)
                faults.append(record)
                print(json.dumps({"weight": record["counted"]}))
            elif what == "reputation":
                print(json.dumps(reputation(record["miner"], record["today"], posts, faults, found_wrong)))
            elif what == "price":
                print(json.dumps(price(record, posts)))
            else:
                raise SystemExit(f"error: {what} is unknown")


if __name__ == "__main__":
    main(sys.argv[1])
