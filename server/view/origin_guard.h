#pragma once
// Which requests come from our own page: of a host that is ours (against DNS rebinding), and not
// sent by another site's page.

#include <optional>
#include <span>
#include <string>

#include "server/http/message.h"

namespace macadam {

/// The name in a Host field: lower case, without port; of "[::1]:80" "::1". Empty when it is none.
std::string host_name(std::string_view field);

/// Whether a Host field is ours: an address (names alone can be rebound), localhost, or one of
/// `names`, of which "*" stands for all.
bool is_own_host(std::string_view field, std::span<const std::string> names);

/// Whether another site's page has sent the request, by its Sec-Fetch-Site and Origin fields.
bool is_cross_site(const HttpRequest& request);

}  // namespace macadam
