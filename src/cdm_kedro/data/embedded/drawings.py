"""Ten classes of drawn scenes, each one function that paints on a :class:`Scene`.

At 32 pixels a class is its layout and its palette. Bricks, scales, seeds, needles and ripples appear only at 128 and
256 pixels, so that every super-resolution model has something to add.
"""

from collections.abc import Callable

import numpy as np

from cdm_kedro.data.embedded.scene import Scene, courses, joints


def _balloon(s: Scene) -> None:
    s.vertical(s.color(0.30, 0.58, 0.92), s.color(0.78, 0.90, 0.98))
    s.clouds(3, -0.7, 0.7, s.color(1, 1, 1, jitter=0.02))
    cx, cy, r = s.uniform(-0.3, 0.3), s.uniform(-0.3, -0.1), s.uniform(0.42, 0.55)
    first, second = s.color(0.86, 0.12, 0.12), s.color(0.99, 0.80, 0.15)
    # Meridians: equal angles on the ball seen from the side.
    longitude = np.arcsin(np.clip((s.x - cx) / np.sqrt(np.maximum(r * r - (s.y - cy) ** 2, 1e-4)), -1, 1))
    stripes = np.sin(longitude * 8 + s.uniform(0, 6.28)) > 0
    weave = 1 + 0.06 * np.sin(s.y * 150) * np.sin(longitude * 60)
    skin = np.where(stripes[..., None], first, second)
    light = s.sphere_light(cx, cy, r) * weave
    bx, by = cx, cy + r * 1.62
    for dx in (-0.5, 0.5):
        u = s.x - (bx + dx * r * (0.3 + 0.5 * (by - s.y) / (by - cy)))
        rope = np.maximum(np.abs(u) - 0.006, np.abs(s.y - (by + cy + r * 0.7) / 2) - (by - cy - r * 0.7) / 2)
        s.paint(rope, s.color(0.25, 0.2, 0.15))
    neck = s.trapezoid(cx, r * 0.86, cy + r * 0.5, r * 0.3, cy + r * 1.25)
    s.paint(np.minimum(s.circle(cx, cy, r), neck), skin, light)
    basket = 0.8 + 0.2 * np.sign(np.sin(s.x * 110) * np.sin(s.y * 110))
    s.paint(s.box(bx, by, r * 0.26, r * 0.17, 0.02), s.color(0.50, 0.32, 0.16), basket)


def _cactus(s: Scene) -> None:
    s.vertical(s.color(0.98, 0.62, 0.30), s.color(1.0, 0.86, 0.55), end=0.4)
    s.paint(s.circle(s.uniform(-0.7, 0.7), s.uniform(-0.6, -0.2), 0.17), s.color(1, 0.95, 0.75))
    horizon = s.uniform(0.35, 0.5)
    ripples = 0.06 * np.sin((s.y * 60 + 3 * s.noise(6)) * (1.6 - s.y)) + 0.05 * s.grain
    s.paint(horizon - s.y + 0.03 * s.noise(4), s.color(0.90, 0.72, 0.42), 1 + ripples)
    cx, w, top = s.uniform(-0.3, 0.3), s.uniform(0.14, 0.19), s.uniform(-0.65, -0.45)
    base, green = s.uniform(0.6, 0.75), s.color(0.13, 0.46, 0.20)
    s.shade(s.ellipse(cx + 0.25, base + 0.02, 0.45, 0.06), -0.35)
    parts = [(cx, (top + base) / 2, w, (base - top) / 2)]
    for side in (-1, 1):
        if s.rng.random() < 0.85:
            y0, length, arm = s.uniform(-0.1, 0.25), s.uniform(0.2, 0.35), w * 0.55
            x0 = cx + side * (w + arm * 1.7)
            parts.append((cx + side * (w + arm * 0.6), y0, w * 1.3, arm * 0.8))
            parts.append((x0, y0 - length / 2, arm, length / 2 + arm * 0.8))
    for px, py, hx, hy in parts:
        d = s.box(px, py, hx, hy, min(hx, hy))
        u = (s.x - px) / min(hx, hy)
        s.paint(d, green, 0.85 + 0.2 * np.cos(u * 9) - 0.25 * u)  # ribs
        spines = (np.cos(u * 9) > 0.9) & (np.cos(s.y * 75) > 0.82)
        s.paint(np.where(spines, d + 0.02, 1), s.color(0.97, 0.95, 0.75))


def _cottage(s: Scene) -> None:
    s.vertical(s.color(0.62, 0.80, 0.95), s.color(0.90, 0.95, 0.98), end=0.3)
    s.clouds(2, -0.85, -0.5, s.color(1, 1, 1, jitter=0.02))
    ground = s.uniform(0.45, 0.6)
    blades = 1 + 0.18 * np.sin(s.x * 170 + 9 * s.noise(14)) * s.grain + 0.1 * s.noise(9)
    s.paint(ground - 0.05 - s.y, s.color(0.36, 0.66, 0.22), blades)
    cx, hx, hy = s.uniform(-0.2, 0.2), s.uniform(0.42, 0.52), s.uniform(0.28, 0.36)
    cy = ground + 0.1 - hy
    u, row = courses(s.x * 11, s.y * 22)
    mortar = joints(s.y * 22, 0.41) | joints(u, 0.45)
    tone = 1 + 0.16 * np.sin(np.floor(u) * 12.9898 + row * 78.233)
    brick = np.where(mortar[..., None], s.color(0.87, 0.80, 0.74), s.color(0.76, 0.36, 0.26) * tone[..., None])
    s.paint(s.box(cx, cy, hx, hy), brick, 1 - 0.12 * (s.x - cx))
    roof_top = cy - hy - s.uniform(0.36, 0.46)
    s.paint(s.box(cx + hx * 0.55, roof_top + 0.16, 0.06, 0.16), s.color(0.45, 0.25, 0.2))
    shingles = 0.9 + 0.16 * np.sin(s.y * 95 + 1.5 * np.abs(np.sin(s.x * 55)))
    roof = s.polygon((cx - hx - 0.12, cy - hy + 0.02), (cx, roof_top), (cx + hx + 0.12, cy - hy + 0.02))
    s.paint(roof, s.color(0.32, 0.25, 0.40), shingles)
    door, frame = s.color(0.25, 0.42, 0.30), s.color(0.97, 0.97, 0.93, jitter=0.02)
    s.paint(s.box(cx, cy + hy * 0.45, 0.1, hy * 0.55), frame)
    s.paint(s.box(cx, cy + hy * 0.48, 0.08, hy * 0.52), door, 1 + 0.1 * np.sin(s.x * 120))
    for side in (-1, 1):
        wx, wy = cx + side * hx * 0.6, cy - hy * 0.05
        s.paint(s.box(wx, wy, 0.105, 0.115), frame)
        for qx, qy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            s.paint(s.box(wx + qx * 0.046, wy + qy * 0.05, 0.036, 0.04), s.color(0.98, 0.86, 0.45))


def _fish(s: Scene) -> None:
    s.vertical(s.color(0.10, 0.55, 0.66), s.color(0.02, 0.20, 0.36))
    s.light(1 + 0.10 * np.maximum(np.sin((s.x + 0.5 * s.y) * 14 + 2 * s.noise(5)), 0) * (0.5 - 0.5 * s.y))
    s.paint(0.82 + 0.04 * s.noise(6) - s.y, s.color(0.72, 0.64, 0.42), 1 + 0.2 * s.grain)
    cx, cy, rx = s.uniform(-0.2, 0.2), s.uniform(-0.3, 0.3), s.uniform(0.45, 0.55)
    ry, way = rx * s.uniform(0.52, 0.62), s.either_way()
    body, fin = s.color(0.98, 0.52, 0.08), s.color(0.93, 0.30, 0.05)
    u, v = (s.x - cx) * way, s.y - cy
    rays = 0.9 + 0.15 * np.sin(np.arctan2(v, u + rx * 0.75) * 46)
    tail = np.maximum(np.abs(v) - (-(u + rx * 0.72)) * 0.95, -(u + rx * 1.55 + 0.25 * np.abs(v)))
    s.paint(tail, fin, rays)
    s.paint(s.ellipse(cx - way * rx * 0.1, cy - ry * 0.85, rx * 0.5, ry * 0.45, way * 0.25), fin, rays)
    phase, row = courses(u * 20, v * 26)
    fu, fv = phase - np.floor(phase) - 0.5, v * 26 - row - 0.5
    scales = 1 - 0.28 * (np.hypot(fu, fv * 0.8) > 0.47) + 0.1 * fv
    belly = np.clip(1.0 + 0.35 * -v / ry, 0.6, 1.25)
    d = s.ellipse(cx, cy, rx, ry)
    s.paint(d, body, np.where(u > rx * 0.45, 1, scales) * belly)
    for k in (-0.35, 0.12):
        s.paint(np.maximum(d, np.abs(u - k * rx + 0.1 * v * v / ry) - 0.055), s.color(1, 0.97, 0.93, jitter=0.02))
    ex, ey = cx + way * rx * 0.62, cy - ry * 0.2
    s.paint(s.circle(ex, ey, 0.075), s.color(1, 1, 0.95, jitter=0.02))
    s.paint(s.circle(ex + way * 0.015, ey, 0.042), s.color(0.05, 0.05, 0.08, jitter=0.02))
    for _ in range(5):
        bx, by, r = s.uniform(-0.9, 0.9), s.uniform(-0.9, 0.5), s.uniform(0.02, 0.05)
        s.paint(np.abs(s.circle(bx, by, r)) - 0.008, s.color(0.75, 0.95, 1), opacity=0.8)


def _lighthouse(s: Scene) -> None:
    s.vertical(s.color(0.28, 0.18, 0.48), s.color(0.98, 0.56, 0.48), end=0.5)
    cx, foot, top = s.uniform(-0.35, 0.35), s.uniform(0.5, 0.62), s.uniform(-0.5, -0.38)
    sea = s.uniform(0.42, 0.5)
    waves = 1 + 0.22 * np.sin(s.y * 120 * (1.4 - s.y) + 4 * s.noise(8))
    s.paint(sea - s.y, s.color(0.22, 0.20, 0.45), waves)
    rock, rough = s.color(0.30, 0.24, 0.26), 1 + 0.25 * s.noise(30) + 0.2 * s.grain
    s.paint(s.ellipse(cx, foot + 0.25, 0.6, 0.32) + 0.05 * s.noise(9), rock, rough)
    side = s.either_way()
    beam = np.abs(s.y - top + 0.1) - 0.3 * np.maximum((s.x - cx) * side, 0)
    s.paint(np.where((s.x - cx) * side > 0, beam, 1), s.color(1, 0.95, 0.7), opacity=0.45)
    tower = s.trapezoid(cx, 0.125, top, 0.21, foot + 0.06)
    bands = np.sin((s.y - top) * 3.1416 / ((foot - top) / 5.0) + 0.4) > 0
    stones = 1 - 0.10 * (joints(s.y * 24, 0.42) | joints(courses(s.x * 16, s.y * 24)[0], 0.44))
    round_light = np.clip(1.05 - 0.9 * (s.x - cx + 0.05), 0.6, 1.1)
    plaster = np.where(bands[..., None], s.color(0.88, 0.14, 0.16), s.color(0.98, 0.96, 0.93, jitter=0.03))
    s.paint(tower, plaster, stones * round_light)
    s.paint(s.box(cx, top - 0.01, 0.19, 0.025), s.color(0.15, 0.13, 0.18))
    s.paint(s.box(cx, top - 0.11, 0.1, 0.1), s.color(1.0, 0.93, 0.55), 1 - 0.5 * joints(s.x * 18, 0.42))
    s.paint(s.polygon((cx - 0.15, top - 0.2), (cx, top - 0.36), (cx + 0.15, top - 0.2)), s.color(0.75, 0.12, 0.14))


def _moon(s: Scene) -> None:
    s.vertical(s.color(0.02, 0.03, 0.14, jitter=0.02), s.color(0.10, 0.14, 0.34, jitter=0.03))
    s.rgb += s.specks(0.9985)[..., None].astype(np.float32) * 0.8
    for _ in range(6):
        s.paint(s.circle(s.uniform(-1, 1), s.uniform(-1, 0.3), 0.012), s.color(1, 1, 0.9, jitter=0.02))
    cx, cy, r = s.uniform(-0.35, 0.35), s.uniform(-0.4, -0.1), s.uniform(0.36, 0.48)
    glow = np.exp(-np.maximum(s.circle(cx, cy, r), 0) * 5)[..., None]
    s.rgb += glow * np.float32(0.28) * s.color(0.9, 0.9, 0.7)
    d = s.circle(cx, cy, r)
    s.paint(d, s.color(0.96, 0.93, 0.78), s.sphere_light(cx, cy, r) + 0.06 * s.noise(12) + 0.04 * s.grain)
    for _ in range(14):
        a, q, size = s.uniform(0, 6.28), r * s.uniform(0, 0.85), r * s.uniform(0.04, 0.17)
        px, py = cx + q * np.cos(a), cy + q * np.sin(a)
        crater = np.maximum(s.circle(px, py, size), d)
        s.shade(crater, -0.20)
        s.shade(np.maximum(np.abs(s.circle(px + 0.012, py + 0.012, size)) - 0.008, d), 0.25)
    for depth in (0.0, 0.18):
        ridge = 0.55 + depth + 0.14 * s.noise(3) + 0.02 * s.noise(40)
        s.paint(ridge - s.y, s.color(0.05, 0.08, 0.13, jitter=0.02) * np.float32(1.2 - 3 * depth))


def _mushroom(s: Scene) -> None:
    s.vertical(s.color(0.06, 0.24, 0.12, jitter=0.03), s.color(0.16, 0.36, 0.14, jitter=0.03))
    for _ in range(4):
        trunk, bark = s.box(s.uniform(-1, 1), -0.2, s.uniform(0.04, 0.09), 1.0), s.color(0.12, 0.16, 0.10, jitter=0.02)
        s.paint(trunk, bark, 1 + 0.3 * np.sin(s.x * 130 + 5 * s.noise(20)))
    moss = 1 + 0.3 * s.grain + 0.2 * s.noise(26)
    s.paint(0.58 + 0.05 * s.noise(6) - s.y, s.color(0.24, 0.40, 0.12), moss)
    cx, cy, r = s.uniform(-0.25, 0.25), s.uniform(-0.15, 0.1), s.uniform(0.50, 0.62)
    stem = s.trapezoid(cx, 0.13, cy, 0.2, 0.78)
    fibres = np.clip(1.0 - 1.4 * (s.x - cx), 0.65, 1.1) * (1 + 0.07 * np.sin(s.x * 150 + 2 * s.noise(10)))
    s.paint(stem, s.color(0.95, 0.92, 0.82, jitter=0.03), fibres)
    gills = 0.8 + 0.25 * np.sin(np.arctan2(s.y - cy + 0.4, s.x - cx) * 90)
    s.paint(s.ellipse(cx, cy + 0.02, r * 0.92, 0.14), s.color(0.88, 0.80, 0.66), gills)
    cap = np.maximum(s.ellipse(cx, cy, r, r * 0.95), s.y - cy - 0.04 + 0.1 * (s.x - cx) ** 2)
    s.paint(cap, s.color(0.85, 0.08, 0.08), s.sphere_light(cx, cy - 0.2, r) + 0.04 * s.grain)
    for _ in range(11):
        a, q = s.uniform(3.3, 6.1), r * s.uniform(0.2, 0.85)
        px, py, size = cx + q * np.cos(a), cy + q * np.sin(a) * 0.9, s.uniform(0.03, 0.085)
        spot = np.maximum(s.ellipse(px, py, size, size * 0.8) + 0.008 * s.grain, cap + 0.01)
        s.paint(spot, s.color(0.98, 0.96, 0.90, jitter=0.02))


def _pine(s: Scene) -> None:
    s.vertical(s.color(0.70, 0.78, 0.88), s.color(0.90, 0.93, 0.97))
    far = 0.05 + 0.22 * np.abs(s.noise(4))
    s.paint(far - s.y, s.color(0.62, 0.70, 0.80))
    snow, drifts = s.color(0.96, 0.97, 1.0, jitter=0.02), 1 + 0.05 * s.noise(7) + 0.03 * s.grain
    s.paint(s.uniform(0.45, 0.58) + 0.05 * s.noise(4) - s.y, snow, drifts)
    cx, top, foot, w = s.uniform(-0.25, 0.25), s.uniform(-0.85, -0.65), s.uniform(0.6, 0.75), s.uniform(0.46, 0.58)
    s.shade(s.ellipse(cx + 0.2, foot + 0.1, 0.5, 0.07), -0.22)
    s.paint(s.box(cx, foot + 0.06, 0.07, 0.12), s.color(0.35, 0.22, 0.12), 1 + 0.2 * np.sin(s.x * 160))
    green = s.color(0.07, 0.32, 0.18, jitter=0.04)
    tiers = 4
    for k in reversed(range(tiers)):
        y0 = top + (foot - top) * k / (tiers + 0.6)
        y1 = top + (foot - top) * (k + 1.6) / (tiers + 0.6)
        half = w * (k + 1.3) / (tiers + 0.3)
        d = s.polygon((cx - half, y1), (cx, y0), (cx + half, y1)) + 0.018 * np.sin(s.x * 70 + 2 * s.noise(9))
        needles = 0.85 + 0.3 * np.sin((s.x - cx) * 90 + np.sign(s.x - cx) * s.y * 110) * (0.6 + 0.4 * s.grain)
        s.paint(d, green, needles * np.clip(1.15 - 0.8 * (s.x - cx), 0.6, 1.4))
        edge = np.maximum(d, np.abs(s.y - y1 + 0.05 + 0.03 * np.sin(s.x * 23 + k)) - 0.022)
        s.paint(edge, s.color(0.97, 0.98, 1, jitter=0.02))
    s.rgb[s.specks(0.998)] = 1.0


def _sailboat(s: Scene) -> None:
    s.vertical(s.color(0.55, 0.80, 0.96), s.color(0.92, 0.96, 0.98), end=0.2)
    s.clouds(2, -0.8, -0.3, s.color(1, 1, 1, jitter=0.02), 0.8)
    sea = s.uniform(0.12, 0.28)
    swell = 1 + 0.16 * np.sin(s.y * 75 * (1.5 - s.y) + 6 * s.noise(7)) + 0.25 * (s.noise(60) * s.grain > 0.22)
    s.paint(sea - s.y, s.color(0.05, 0.34, 0.62), swell * (1.15 - 0.35 * s.y))
    cx, y, w = s.uniform(-0.25, 0.25), s.uniform(0.42, 0.58), s.uniform(0.48, 0.58)
    top, way = s.uniform(-0.8, -0.65), s.either_way()
    s.shade(s.ellipse(cx, y + 0.2, w * 0.9, 0.07) + 0.02 * s.noise(20), -0.35)
    hull = s.trapezoid(cx, w, y, w * 0.68, y + 0.2)
    s.paint(hull, s.color(0.55, 0.27, 0.12), 1 - 0.22 * joints(s.y * 22, 0.42))
    s.paint(np.maximum(hull, s.y - y - 0.04), s.color(0.95, 0.93, 0.88))
    s.paint(s.box(cx, (y + top) / 2, 0.015, (y - top) / 2), s.color(0.3, 0.2, 0.12))
    seams = 1 - 0.10 * joints(s.y * 9 + 0.3 * s.x, 0.46) + 0.02 * np.sin(s.x * 180) * np.sin(s.y * 180)
    white = s.color(0.99, 0.98, 0.95, jitter=0.02)
    lit = seams * np.clip(1 - 0.35 * (s.x - cx) * way, 0.75, 1.05)
    accent = s.color(*((0.90, 0.18, 0.20), (0.98, 0.80, 0.20), (0.15, 0.55, 0.45))[int(s.rng.integers(3))])
    for direction, reach, start, cloth, tone in ((way, 0.82, 0.02, white, lit), (-way, 0.55, 0.25, accent, seams)):
        u = (s.x - cx) * direction
        height = (s.y - (top + start)) / (y - 0.06 - top - start)
        edge = reach * w * np.clip(height, 0, 1) ** 0.8
        s.paint(np.maximum.reduce([0.03 - u, u - edge, s.y - (y - 0.06)]), cloth, tone)


def _sunflower(s: Scene) -> None:
    s.vertical(s.color(0.55, 0.78, 0.40), s.color(0.20, 0.48, 0.16))
    s.light(1 + 0.18 * s.noise(7) + 0.08 * s.noise(24))
    cx, cy, r = s.uniform(-0.2, 0.2), s.uniform(-0.3, -0.05), s.uniform(0.27, 0.33)
    s.paint(s.box(cx, 0.6, 0.05, 0.6), s.color(0.18, 0.42, 0.10), 1 + 0.15 * np.sin(s.x * 140))
    for side in (-1, 1):
        lx, ly = cx + side * 0.32, s.uniform(0.5, 0.7)
        veins = 1 + 0.15 * np.sin((s.y + side * s.x * 0.7) * 85)
        s.paint(s.ellipse(lx, ly, 0.32, 0.13, -side * 0.5), s.color(0.16, 0.50, 0.12), veins)
    angle = np.arctan2(s.y - cy, s.x - cx)
    radius = np.hypot(s.x - cx, s.y - cy)
    count, turn = int(s.rng.integers(15, 20)), s.uniform(0, 6.28)
    for layer, tint in ((0.5, 0.86), (0.0, 1.0)):
        phase = (angle * count / (2 * np.pi) + turn + layer) % 1 - 0.5
        reach = r * 2.05 - r * 2.6 * np.abs(phase) ** 1.7
        streaks = 0.92 + 0.10 * np.cos(phase * 40) + 0.25 * np.clip(radius / r - 1.2, 0, 0.4)
        s.paint(radius - reach, s.color(0.99, 0.78, 0.06), tint * (streaks - 0.2 * (np.abs(phase) > 0.42)))
    d = s.circle(cx, cy, r)
    # The seeds of Fermat's spiral at the golden angle are seen as two families of opposite spirals.
    q = (radius / r) ** 2 * 120
    seeds = 0.75 + 0.35 * np.sin(angle * 21 + np.sqrt(q) * 4) * np.sin(angle * 34 - np.sqrt(q) * 4)
    ring = np.where((radius < r * 0.5)[..., None], s.color(0.28, 0.20, 0.06), s.color(0.42, 0.23, 0.07))
    s.paint(d, ring, seeds)


CLASSES: dict[str, Callable[[Scene], None]] = {
    draw.__name__.removeprefix("_"): draw
    for draw in [_balloon, _cactus, _cottage, _fish, _lighthouse, _moon, _mushroom, _pine, _sailboat, _sunflower]
}
"""Name of each class, in alphabetical order, to the function that draws it."""
