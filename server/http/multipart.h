#pragma once
// Bodies of several parts (RFC 2046, section 5.1; RFC 7578).

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace macadam {

struct BodyPart {
  std::string name;          // of the form's field; may be empty
  std::string content_type;  // may be empty
  std::string_view content;  // of the body
};

/// The boundary that a Content-Type "multipart/...; boundary=..." names; nothing when it is not
/// one.
std::optional<std::string> multipart_boundary(std::string_view content_type);

/// The parts of a body; nothing when it is not well-formed, has none, or more than `most`.
std::optional<std::vector<BodyPart>> parse_multipart(std::string_view body,
                                                     std::string_view boundary, size_t most);

/// A part to be sent.
struct SentPart {
  std::string name, content_type, content;
};

/// A body of parts, and the boundary that none of them holds.
struct MultipartBody {
  std::string content_type;  // "multipart/mixed; boundary=..."
  std::string body;
};

MultipartBody make_multipart(std::span<const SentPart> parts);

}  // namespace macadam
