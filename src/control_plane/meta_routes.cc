#include "control_plane/openapi.h"
#include "control_plane/services.h"

namespace alga::control_plane {

void add_meta_routes(Api& api, Services&) {
  api.add_open("GET", "/api/v1/openapi.json",
               [](const httpd::Request&) -> Result<httpd::Response> {
                 return httpd::json_response(200, std::string(openapi_document()));
               },
               {.route = {.max_body = 1U << 10U}});  // of strangers
}

}  // namespace alga::control_plane
