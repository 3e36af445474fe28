-- Sends one request again and again; at the end says, as JSON, how long the answers took.
-- wrk ... -- TYPE FILE: the body's media type, and the file it is read from.

function init(args)
  local file = assert(io.open(args[2], "rb"))
  wrk.method = "POST"
  wrk.headers["Content-Type"] = args[1]
  wrk.body = file:read("*a")
  file:close()
end

function done(summary, latency)
  local errors, seconds = summary.errors, summary.duration / 1e6
  io.write(string.format(
    '{"answers":%d,"failed":%d,"seconds":%.6f,"rate":%.6f,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    seconds, summary.requests / seconds,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
