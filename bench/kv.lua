-- wrk script: PUT or GET of random keys with a token. Arguments: token, method, number of keys, value bytes, query,
-- and "named" where each request is to have an Idempotency-Key of its own.
local token, method, keys, value, named
local names = 0

function init(args)
  token, method, keys = args[1], args[2], tonumber(args[3])
  value = '{"v":"' .. string.rep("x", tonumber(args[4]) - 8) .. '"}'
  query = args[5] or ""
  named = args[6] == "named"
  math.randomseed(tonumber(tostring({}):sub(8), 16) or os.time())
  series = string.format("%08x", math.random(0, 2 ^ 31 - 1))
end

function request()
  local path = "/bench/key/k" .. math.random(1, keys) .. query
  local headers = { ["Authorization"] = "Bearer " .. token }
  if named then
    names = names + 1
    headers["Idempotency-Key"] = series .. string.format("%08d", names)
  end
  return wrk.format(method, path, headers, method == "PUT" and value or nil)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %.1f %.3f %.3f %d\n", summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
