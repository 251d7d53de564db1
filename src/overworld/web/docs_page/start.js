// validatorUrl: null, else Swagger UI shows a badge that it fetches from its makers' server.
SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#page",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null,
  deepLinking: true,
});
