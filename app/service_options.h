#pragma once
// What the commands of services have in common: each key of a described configuration is an option,
// and may stand in a file; a log that lines are added to.

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/command_line.h"
#include "base/field_reader.h"

namespace macadam {

struct ServiceOptions {
  std::string file;
  bool keys = false;                                         // print them, instead
  std::map<std::string, std::optional<std::string>> values;  // that the command line gives, by key

  /// As "key=value".
  std::vector<std::string> overrides() const;
};

/// Adds --config, --keys and an option for each field: "max_batch" is --max-batch. `but`: a key
/// that is given otherwise. `aliases`: other names, ",--unix", by key.
void add_service_options(Command& command, const FieldList& fields,
                         const std::shared_ptr<ServiceOptions>& options, std::string_view but,
                         const std::map<std::string, std::string>& aliases);

/// Lines of a log, to a file or, without a name, to standard error. What cannot be written is
/// lost: the service goes on.
class LogFile {
 public:
  /// Throws InputError when the file cannot be opened.
  explicit LogFile(const std::string& file);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  void write(std::string_view line);

 private:
  int descriptor_ = -1;
  std::mutex mutex_;
};

}  // namespace macadam
