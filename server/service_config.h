#pragma once
// The configuration of a service from a file and the command line, and its keys as documents have
// them.

#include <chrono>
#include <filesystem>
#include <span>
#include <string>

#include "base/field_reader.h"

namespace macadam {

/// The values of a file under those that the command line gives as "key=value". Without a file
/// (empty) the latter alone. Throws InputError when it cannot be read.
ParameterTable load_service_table(const std::filesystem::path& file,
                                  std::span<const std::string> overrides);

/// Throws InputError for a key that nobody read.
void end_service_table(const FieldReader& reader);

/// A configuration that describe(Fields&, Config&) describes. Throws InputError naming key and
/// place for what does not fit.
template <typename Config>
Config load_service_config(const std::filesystem::path& file,
                           std::span<const std::string> overrides) {
  const ParameterTable table = load_service_table(file, overrides);
  FieldReader reader(
      table, {"'", "'", file.empty() ? "the command line" : file.string(), file.parent_path()});
  Config config;
  describe(reader, config);
  end_service_table(reader);
  return config;
}

/// Markdown tables of all keys, one a section.
std::string fields_markdown(const FieldList& list);
template <typename Config>
std::string service_keys_markdown() {
  Config defaults;
  FieldList list;
  describe(list, defaults);
  return fields_markdown(list);
}

/// A configuration's seconds.
std::chrono::milliseconds in_milliseconds(double seconds);

/// "http://127.0.0.1:8080"; an IPv6 address stands in brackets.
std::string url_of(const std::string& host, int port);

/// The line of a file with a token; empty for no file. Throws InputError for what is no token.
std::string read_token(const std::filesystem::path& file);

}  // namespace macadam
