// The paired test of two trained networks, as stn_cluster/report/statistics/paired.py computes it.

// Whole numbers from base64 of variable-length integers: seven bits a byte, the lowest first.
function wholeNumbers(text) {
  const bytes = atob(text);
  const found = [];
  let value = 0;
  let unit = 1;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes.charCodeAt(i);
    value += (byte & 127) * unit;
    unit *= 128;
    if (byte < 128) {
      found.push(value);
      value = 0;
      unit = 1;
    }
  }
  return found;
}

// P-value of the exact two-sided McNemar test (McNemar 1947).
function mcnemar(b, c) {
  const n = b + c;
  const k = Math.min(b, c);
  let logarithm = -n * Math.LN2; // of the chance of exactly k
  for (let i = 1; i <= k; i++) logarithm += Math.log((n - k + i) / i);
  let term = 1;
  let sum = 1;
  for (let i = k; i > 0; i--) {
    term *= i / (n - i + 1);
    sum += term;
  }
  return Math.min(1, 2 * Math.exp(logarithm) * sum);
}

// P-value of the exact two-sided sign-flip test of differences by base image (Fisher 1935).
function signFlip(differences) {
  const sizes = differences.filter((d) => d !== 0).map(Math.abs);
  if (!sizes.length) return 1;
  const unit = sizes.reduce((a, b) => { while (b) [a, b] = [b, a % b]; return a; });
  const units = sizes.map((size) => size / unit);
  const total = units.reduce((a, b) => a + b, 0);
  const sum = differences.reduce((a, b) => a + b, 0);
  if (total === units.length) {
    const positive = differences.filter((d) => d > 0).length;
    return mcnemar(positive, units.length - positive);
  }
  const observed = Math.abs(sum) / unit;
  if (observed === 0) return 1;
  const chances = new Float64Array(Math.floor((total - observed) / 2) + 1);
  chances[0] = 1;
  let larger = 0;
  for (const size of units) {
    if (size >= chances.length) {
      larger += 1;
      continue;
    }
    for (let i = chances.length - 1; i >= size; i--) chances[i] += chances[i - size];
    for (let i = 0; i < chances.length; i++) chances[i] /= 2;
  }
  return Math.min(1, 2 * chances.reduce((a, b) => a + b, 0) * 0.5 ** larger);
}

// Tango's score interval (1998) of (b - c) / n.
function tango(b, c, n, critical) {
  const estimate = (b - c) / n;
  const score = (delta) => {
    const linear = -b - c + (2 * n - b + c) * delta;
    const constant = -c * delta * (1 - delta);
    const root = Math.sqrt(Math.max(linear * linear - 8 * n * constant, 0));
    const variance = n * (2 * (root - linear) / (4 * n) + delta * (1 - delta));
    const excess = b - c - n * delta;
    return variance > 0 ? excess / Math.sqrt(variance) : Math.sign(excess) * Infinity;
  };
  const end = (outer, sign) => {
    let inner = estimate;
    for (let i = 0; i < 60; i++) {
      const middle = (inner + outer) / 2;
      if (sign * score(middle) < critical) inner = middle;
      else outer = middle;
    }
    return (inner + outer) / 2;
  };
  return [end(-1, 1), end(1, -1)];
}

// Compares B with A. Each is a Map from the images that it gets wrong to what it takes them for.
function compareNetworks(a, b, images, repeats, critical) {
  const onlyA = [...b.keys()].filter((image) => !a.has(image));
  const onlyB = [...a.keys()].filter((image) => !b.has(image));
  const both = [...a.keys()].filter((image) => b.has(image));
  const baseImages = images / repeats;
  const byBase = new Map();
  for (const [list, sign] of [[onlyA, 1], [onlyB, -1]]) {
    for (const image of list) {
      const base = image % baseImages;
      byBase.set(base, (byBase.get(base) || 0) + sign);
    }
  }
  const differences = [...byBase.values()];
  const mean = (onlyA.length - onlyB.length) / images;
  let n = baseImages;
  if (repeats > 1) {
    const squares = differences.reduce((sum, d) => sum + (d / repeats) ** 2, 0);
    const variance = squares / baseImages - mean * mean;
    const independent = (onlyA.length + onlyB.length) / images - mean * mean;
    if (variance > 0) {
      n = Math.min(images, Math.max(baseImages, (independent / variance) * baseImages));
    }
  }
  const [low, high] = tango(onlyA.length / images * n, onlyB.length / images * n, n, critical);
  return { onlyA, onlyB, both, difference: mean, low, high, p: signFlip(differences) };
}
