/** Users, groups, service tokens: who may do what, and who did what. @module people */

import * as audit from "./audit.js"
import {h} from "./dom.js"
import * as groups from "./groups.js"
import * as rights from "./rights.js"
import * as tokens from "./tokens.js"
import * as users from "./users.js"

export const title = "People"
const PLACES = {users, groups, tokens, rights, audit}

export async function show(place, page) {
  const [name = "users"] = page.parts
  const known = Object.hasOwn(PLACES, name) ? name : "users"
  const inside = h("div")
  place.append(
    h("nav", {class: "places", "aria-label": title}, Object.entries(PLACES).map(([one, {title: text}]) => h("a",
      {href: page.at(page.name, [one]), "aria-current": one === known && "page"}, text))), inside)
  await PLACES[known].show(inside, page)
}
