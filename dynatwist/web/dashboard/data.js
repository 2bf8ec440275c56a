/** @module data */

import {h} from "./dom.js"

export const title = "Data"

export async function show(place) {
  place.append(h("h1", {}, title))
}
