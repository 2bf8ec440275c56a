-- wrk script for etcd's HTTP gateway. Arguments: method (PUT or GET), number of keys, value bytes, serializable (or "").
local method, keys, value, query
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  local out = {}
  for at = 1, #text, 3 do
    local one, two, three = text:byte(at, at + 2)
    local bits = one * 65536 + (two or 0) * 256 + (three or 0)
    for shift = 3, 0, -1 do
      local index = math.floor(bits / 64 ^ shift) % 64 + 1
      out[#out + 1] = alphabet:sub(index, index)
    end
    if not two then out[#out - 1], out[#out] = "=", "=" elseif not three then out[#out] = "=" end
  end
  return table.concat(out)
end

function init(args)
  method, keys = args[1], tonumber(args[2])
  value = base64('{"v":"' .. string.rep("x", tonumber(args[3]) - 8) .. '"}')
  query = args[4] == "serializable" and ',"serializable":true' or ""
  math.randomseed(tonumber(tostring({}):sub(8), 16) or os.time())
end

function request()
  local key = base64("k" .. math.random(1, keys))
  if method == "PUT" then
    return wrk.format("POST", "/v3/kv/put", nil, '{"key":"' .. key .. '","value":"' .. value .. '"}')
  end
  return wrk.format("POST", "/v3/kv/range", nil, '{"key":"' .. key .. '"' .. query .. "}")
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %.1f %.3f %.3f %d\n", summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
