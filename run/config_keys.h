#pragma once
// The keys of a configuration for people and programs, made from its description.

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace macadam {

/// A plain table: key, default, what resuming asks; below each its meaning and its values.
std::string keys_table();

/// The content of docs/configuration.md.
std::string keys_markdown();

/// [{"key", "section", "type", "default", "meaning", "on_resume", "needs"}, ...]
nlohmann::json keys_json();

}  // namespace macadam
