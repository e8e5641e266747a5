"""Event collectors: the browser SDKs' two forms and the postback of servers, on raw ASGI."""
