#include <boost/json.hpp>

#include "api/json_out.h"

namespace forerun::api {

namespace json = boost::json;

std::string to_json(const RecordingInfo& recording) {
  return json::serialize(json::value{{"vm", repair_utf8(recording.vm)},
                                     {"id", recording.id},
                                     {"disk_bytes", recording.disk_bytes}});
}

// Requests are lines of the trace, not objects: a busy guest makes a hundred thousand a second.
std::string to_json(const RecordedRequests& recorded) {
  json::array requests;
  requests.reserve(recorded.requests.size());
  for (const RecordedRequest& request : recorded.requests)
    requests.push_back(
        json::string(fmt::format("{},{},{},{}", request.at_us, request.is_write ? 'W' : 'R',
                                 request.first_sector, request.sectors)));
  return json::serialize(json::value{{"id", recorded.id},
                                     {"requests", std::move(requests)},
                                     {"lost", recorded.lost},
                                     {"more", recorded.has_more},
                                     {"ended", recorded.has_ended},
                                     {"end_reason", recorded.end_reason}});
}

namespace {

json::array names(const std::vector<std::string>& all) {
  json::array array;
  for (const std::string& name : all) array.emplace_back(name);
  return array;
}

}  // namespace

std::string to_json(const HistoryExportInfo& info) {
  return json::serialize(json::value{{"vm", repair_utf8(info.vm)},
                                     {"path", repair_utf8(info.path)},
                                     {"size_bytes", info.size_bytes},
                                     {"models", names(info.models)},
                                     {"histories", info.histories}});
}

std::string to_json(const HistoryImportInfo& info) {
  return json::serialize(json::value{{"vm", repair_utf8(info.vm)},
                                     {"models_taken", names(info.models_taken)},
                                     {"models_kept", names(info.models_kept)},
                                     {"histories_merged", info.histories_merged},
                                     {"histories_ignored", info.histories_ignored}});
}

}  // namespace forerun::api
