/** The partitions of a member as a strip: what it holds, and how well. @module partitions */

import {h, s} from "./dom.js"
import {counted} from "./format.js"

/** Kinds of partitions, the worst last: it is drawn over the others. */
export const KINDS = {whole: "whole", moving: "moving", filling: "filling", damaged: "damaged"}
/** 256 for data, and the last one for users, groups and settings. */
const COUNT = 257

/**
 * A strip.
 *
 * @param ranges by kind, `[[first, last], ...]`; `undefined` where the member has not told.
 * @param address whose.
 */
export function strip(ranges, address) {
  if (!ranges) return "–"
  const parts = Object.keys(KINDS).flatMap((kind) => (ranges[kind] ?? []).map(([first, last]) =>
    s("rect", {class: kind, x: first, y: 0, width: last - first + 1, height: 10})))
  const label = Object.keys(KINDS).map((kind) => [kind, size(ranges[kind] ?? [])]).filter(([, count]) => count)
    .map(([kind, count]) => `${count} ${KINDS[kind]}`).join(", ") || "none"
  return h("div", {title: label},
    s("svg", {class: "strip", viewBox: `0 0 ${COUNT} 10`, preserveAspectRatio: "none", role: "img",
      "aria-label": `Partitions of ${address}: ${label}`}, ...parts),
    h("small", {}, ranges.whole ? counted(size(ranges.whole), "partition") : ""))
}

function size(list) {
  return list.reduce((all, [first, last]) => all + last - first + 1, 0)
}
