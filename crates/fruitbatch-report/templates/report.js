"use strict";
// Maps and heat maps answer to the pointer and to the arrow keys. Text is only ever set as text: a path may hold anything.
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const tip = document.getElementById("tip");
const spoken = document.getElementById("spoken");

const hideTip = () => { tip.hidden = true; };

// Shows the lines, the first of them bold, below an optional picture, beside a place on the screen.
function showTip(left, top, lines, picture) {
  tip.replaceChildren(...lines.map((line, at) => Object.assign(document.createElement(at ? "span" : "b"), { textContent: line })));
  if (picture) tip.prepend(Object.assign(new Image(), { src: picture, alt: "" }));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, left + 16 + width > innerWidth ? left - 16 - width : left + 16) + "px";
  tip.style.top = Math.max(4, Math.min(top + 12, innerHeight - height - 4)) + "px";
}

// From units of a plot to the screen.
function screenPlace(svg, x, y) {
  const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
  return [box.left + x * scale, box.top + y * scale];
}
// `answer(x, y)` in units of the plot. Fingers don't move before they touch.
function onPointer(svg, answer) {
  ["pointermove", "pointerdown"].forEach(kind => svg.addEventListener(kind, event => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    answer((event.clientX - box.left) * scale, (event.clientY - box.top) * scale);
  }));
}
const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// `move(direction)` on arrow keys, `leave()` on Escape and when the focus goes.
function withKeys(place, move, leave) {
  place.addEventListener("keydown", event => {
    if (event.key === "Escape") return leave();
    if (!arrows[event.key]) return;
    event.preventDefault();
    move(arrows[event.key]);
  });
  place.addEventListener("blur", leave);
  place.addEventListener("pointerleave", leave);
}

function startMaps(photos) {
  const maps = $$(".map"), svgs = maps.map(map => map.querySelector("svg"));
  function shape(svg, tag, style) {
    const made = svg.appendChild(document.createElementNS(svg.namespaceURI, tag));
    made.setAttribute("class", style);
    made.style.display = "none";
    return made;
  }
  const groups = svgs.map(svg => shape(svg, "path", "group"));
  const rings = svgs.map(svg => shape(svg, "circle", "ring"));
  rings.forEach(ring => ring.setAttribute("r", 16));
  const sheets = new Map($$(".strip img").map(image => [image.dataset.path, image.src]));
  let current = -1;

  // The photo of least cost; -1 if all cost too much.
  function cheapest(cost) {
    let best = -1, least = Infinity;
    photos.x.forEach((_, photo) => {
      const its = cost(photo);
      if (its < least) [best, least] = [photo, its];
    });
    return best;
  }
  function show(photo, svg) {
    current = photo;
    maps.forEach(map => photo < 0 ? delete map.dataset.photo : map.dataset.photo = photos.path[photo]);
    rings.forEach(ring => { ring.style.display = photo < 0 ? "none" : ""; });
    if (photo < 0) return hideTip();
    rings.forEach(ring => ["x", "y"].forEach(axis => ring.setAttribute("c" + axis, photos[axis][photo])));
    const lines = [photos.path[photo], photos.labels[photos.label[photo]], photos.clusters[photos.cluster[photo]]];
    const own = photos.thumbnails[photo];
    showTip(...screenPlace(svg, photos.x[photo], photos.y[photo]), lines,
      own ? "data:image/jpeg;base64," + own : sheets.get(photos.path[photo]));
    return lines.join(", ");
  }
  maps.forEach((map, at) => {
    const svg = svgs[at];
    onPointer(svg, (x, y) => {
      const distance = photo => Math.hypot(photos.x[photo] - x, photos.y[photo] - y);
      const nearest = cheapest(distance);
      show(nearest >= 0 && distance(nearest) < 40 ? nearest : -1, svg);
    });
    withKeys(map, ([right, down]) => {
      // Straight ahead is near, to the side is far; from nowhere, the walk begins in the middle.
      const [x, y] = current < 0 ? [svg.viewBox.baseVal.width / 2, svg.viewBox.baseVal.height / 2] : [photos.x[current], photos.y[current]];
      const next = cheapest(photo => {
        const dx = photos.x[photo] - x, dy = photos.y[photo] - y;
        if (current < 0) return Math.hypot(dx, dy);
        const ahead = dx * right + dy * down, aside = Math.abs(dx * down) + Math.abs(dy * right);
        return photo === current || ahead <= 0 ? Infinity : ahead + 3 * aside;
      });
      if (next >= 0) spoken.textContent = show(next, svg);
    }, () => show(-1));
  });
  const buttons = $$(".legend button");
  buttons.forEach(button => button.addEventListener("click", () => {
    const pressed = button.getAttribute("aria-pressed") === "false";
    buttons.forEach(other => other.setAttribute("aria-pressed", other === button && pressed));
    const members = photos[button.dataset.by], wanted = Number(button.dataset.group);
    const points = photos.x.map((x, photo) => members[photo] === wanted ? `M${x} ${photos.y[photo]}h0` : "").join("");
    svgs.forEach((svg, at) => {
      svg.classList.toggle("dimmed", pressed);
      groups[at].style.display = pressed ? "" : "none";
      groups[at].setAttribute("d", points);
    });
  }));
}

// The counts are read from the table of the same numbers.
function startHeatMap(place) {
  const svg = place.querySelector("svg"), table = document.getElementById(place.dataset.table);
  const [left, top, side] = ["left", "top", "side"].map(name => Number(place.dataset[name]));
  const rows = table.tBodies[0].rows, columns = table.tHead.rows[0].cells.length - 1;
  let at = [-1, -1];
  function show(column, row) {
    if (column < 0 || row < 0 || column >= columns || row >= rows.length) return leave();
    at = [column, row];
    const lines = [`${place.dataset.row} ${rows[row].cells[0].textContent}`,
      `${place.dataset.column} ${table.tHead.rows[0].cells[column + 1].textContent}`, `${rows[row].cells[column + 1].textContent} photos`];
    place.dataset.shown = lines.join(", ");
    showTip(...screenPlace(svg, left + (column + .5) * side, top + (row + .5) * side), lines);
    return place.dataset.shown;
  }
  function leave() {
    at = [-1, -1];
    delete place.dataset.shown;
    hideTip();
  }
  onPointer(svg, (x, y) => show(Math.floor((x - left) / side), Math.floor((y - top) / side)));
  withKeys(place, ([right, down]) => {
    const clamp = (number, count) => Math.max(0, Math.min(number, count - 1));
    const next = at[0] < 0 ? [0, 0] : [clamp(at[0] + right, columns), clamp(at[1] + down, rows.length)];
    spoken.textContent = show(...next);
  }, leave);
}

const photos = document.getElementById("photos");
if (photos) startMaps(JSON.parse(photos.textContent));
$$(".cells").forEach(startHeatMap);
addEventListener("scroll", hideTip, { passive: true });
// On paper all photos are seen; tables stay as they are.
addEventListener("beforeprint", () => $$("details:has(.sheet)").forEach(part => { part.open = true; }));
