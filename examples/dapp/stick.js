// The tally stick: the host's half carries notches made of the receipt's id, one group for each check; the same
// group is cut into the other half where the check holds, and beside it, in red, where it does not.

import { Cid } from "./talea.js";

const WIDTH = 960, MIDDLE = 46, HALF = 38, EDGE = 22;
const svg = (name, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

/** Draws the host's half and an uncut half of one's own. Without a receipt neither has notches. */
export function draw(place, receipt, groups) {
  // The outer edge bows a little; the inner one is straight, where the stick was split.
  const outline = (top) => {
    const outer = top ? MIDDLE - HALF : MIDDLE + HALF, inward = top ? 1 : -1;
    return `M6 ${MIDDLE}L6 ${outer + 14 * inward}Q6 ${outer} 20 ${outer}Q${WIDTH / 2} ${outer - 3 * inward} ${WIDTH - 20} ${outer}` +
      `Q${WIDTH - 6} ${outer} ${WIDTH - 6} ${outer + 14 * inward}L${WIDTH - 6} ${MIDDLE}Z`;
  };
  const half = (name, top) => {
    const line = (y, sway) => svg("path", { class: "grain", d: `M14 ${y}Q${WIDTH * 0.3} ${y + sway} ${WIDTH * 0.55} ${y}T${WIDTH - 14} ${y}` });
    const from = top ? MIDDLE - HALF : MIDDLE;
    return svg("g", { class: `half ${name}` }, svg("path", { d: outline(top), fill: "url(#wood)" }),
      line(from + 9, 4), line(from + 20, -5), line(from + 30, 3),
      svg("path", { class: "split", d: `M6 ${MIDDLE}L${WIDTH - 6} ${MIDDLE}` }));
  };
  const wood = svg("linearGradient", { id: "wood", gradientUnits: "userSpaceOnUse", x1: 0, x2: 0, y1: MIDDLE - HALF, y2: MIDDLE + HALF },
    svg("stop", { class: "wood-a", offset: 0 }), svg("stop", { class: "wood-b", offset: 1 }));
  const host = half("host", true), own = half("own", false);
  place.replaceChildren(svg("defs", {}, wood), host, own);
  const stick = { own, groups, bytes: receipt ? Cid.parse(receipt).digest : null };
  if (receipt) for (let group = 0; group < groups; group += 1) host.append(...notches(stick, group, true, 0));
  return stick;
}

/** Cuts one group into one's own half. */
export function cut(stick, group, holds) {
  stick.own.append(...notches(stick, group, false, holds ? 0 : 9));
}

function notches({ bytes, groups }, group, top, aside) {
  const count = bytes.length / groups, room = (WIDTH - 2 * EDGE) / bytes.length;
  return Array.from({ length: count }, (_, number) => {
    const byte = bytes[group * count + number];
    // The place within its room, the width and the depth all come from the byte.
    const x = EDGE + (group * count + number) * room + 4 + (byte & 15) * 0.8 + aside;
    const width = 2.5 + ((byte >> 4) & 3) * 1.6, depth = HALF * (0.5 + ((byte >> 6) & 3) * 0.14);
    const tip = top ? MIDDLE - depth : MIDDLE + depth;
    const d = `M${x - width / 2} ${MIDDLE}L${x - width / 4} ${tip}L${x + width / 4} ${tip}L${x + width / 2} ${MIDDLE}Z`;
    return svg("path", { class: aside ? "notch wrong" : "notch", d });
  });
}
